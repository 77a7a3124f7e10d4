"""Editors that are services, asked over the network and paid."""
