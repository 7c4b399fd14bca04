-- kind: rows
-- Defects and line density of each run and stream in windows of 5 s. A row is told anew whenever its window has more.
SELECT
  `run`,
  `stream`,
  FLOOR(answered_s / 5) * 5 AS window_start_s,
  COUNT(*) AS frames,
  AVG(CAST(defects AS DOUBLE)) AS mean_defects,
  MAX(defects) AS most_defects,
  AVG(line_density_per_A2) AS mean_density
FROM answers
WHERE outcome = 'inferred'
GROUP BY `run`, `stream`, FLOOR(answered_s / 5) * 5
