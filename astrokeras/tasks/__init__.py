"""Tasks: stages with a model behind them."""
