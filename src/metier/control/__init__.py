"""The imperative shell: observe, plan, check, execute, again."""
