"""Values as bytes: content addresses, stored forms, tensors."""
