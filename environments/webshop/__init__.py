"""WebShop: buy the product that an instruction describes (Yao et al. 2022, arXiv 2207.01206)."""
