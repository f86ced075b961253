"""Plain containers of tensors that pass between the parts."""
