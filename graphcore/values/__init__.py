"""Values as bytes: content addresses, stored forms, tensors, the content of files."""
