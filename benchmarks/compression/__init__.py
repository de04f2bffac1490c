"""How the codec compares with those of others: rates, distortions, speed; no part of the package."""
