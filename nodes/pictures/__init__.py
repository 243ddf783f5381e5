"""Pictures: files, sizes, grids, and the way between pixels and latents."""
