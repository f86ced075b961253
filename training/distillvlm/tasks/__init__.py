"""What is learnt: each task turns a batch into named losses."""
