"""What the product does, in words of the domain."""
