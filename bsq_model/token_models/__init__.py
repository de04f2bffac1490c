"""What models over tokens share: layers, files and fingerprints; no pixels, no storage."""
