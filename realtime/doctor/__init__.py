"""`qlumen doctor`: what this machine has, what of it is used, and what adds the rest."""
