"""Models over tokens, with their layers, files and fingerprints; no pixels, no storage."""
