-- kind: rows
-- How far the line density of each step lies from that of earlier runs under the same conditions, in deviations.
SELECT
  a.`run`,
  a.`stream`,
  a.`rank`,
  a.`step`,
  a.load_nN,
  a.line_density_per_A2,
  u.mean_density,
  u.steps AS compared_with,
  (a.line_density_per_A2 - u.mean_density) / u.deviation AS z
FROM answers AS a
JOIN usual AS u
  ON a.material = u.material AND a.temperature_K = u.temperature_K AND FLOOR(a.load_nN / 50) = u.load_bin
WHERE a.outcome = 'inferred' AND u.steps >= 10 AND u.deviation > 0
