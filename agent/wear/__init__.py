"""What the agent writes to each device, and how much more it may: counted, kept and enforced."""
