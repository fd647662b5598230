"""What must hold: the catalogue of requirements, the facts that can be observed and the rules that judge them."""
