"""The specification: sentences that run. Folders mirror the tree; see ARCHITECTURE.md."""
