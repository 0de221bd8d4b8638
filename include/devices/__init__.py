"""The devices that models run on: finding them, leasing them, and measuring their use."""
