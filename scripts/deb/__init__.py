"""Makes the Debian package; ``scripts/build-deb`` runs it."""
