"""The web server that ``thalweg app`` starts, and its check of who may see the app."""
