"""From a crystal to the complex amplitude around its reflections: three routes, one interface."""
