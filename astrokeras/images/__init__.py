"""Survey images: what a file says of its pixels, resolved once into nJy per pixel, an error and a mask."""
