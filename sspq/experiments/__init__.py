"""What the scripts in examples/ are made of: options, images, and the run around them."""
