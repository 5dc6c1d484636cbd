"""Proves the tables and the delivery protocol by exploring every state they can reach."""
