"""Matrix-free numerics that know no network: operators, eigenpairs, stochastic traces, each with its error."""
