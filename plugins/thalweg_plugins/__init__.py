"""The plugins that come with thalweg. They are loaded through the hooks that any plugin uses."""
