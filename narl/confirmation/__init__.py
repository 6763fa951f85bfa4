"""Whether a search's front holds: its contenders trained anew with fresh seeds, and read on test images."""
