"""Networks: detector, vision-language transformer, generation."""
