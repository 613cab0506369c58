"""LLM judges: what asks a model about answers, and what its replies mean."""
