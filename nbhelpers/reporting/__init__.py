"""reporting: TODO."""
