"""The plugins that come with thalweg, loaded through the same hooks as anyone's."""
