"""Stage 1: the reference policy, its warm start, and V* estimated from its graded samples."""
