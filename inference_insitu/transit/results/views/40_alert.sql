-- kind: alerts
-- Steps with a line density that one in some hundred would have.
SELECT `run`, `stream`, `rank`, `step`, z, line_density_per_A2, mean_density, compared_with
FROM unusual
WHERE ABS(z) > 3
