"""What makes a crystal differ from a perfect one: dislocations, faults, twins, vacancies, strain."""
