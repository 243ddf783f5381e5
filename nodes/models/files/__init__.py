"""Model files: folders, single files, the Hub; read as far as headers and configurations."""
