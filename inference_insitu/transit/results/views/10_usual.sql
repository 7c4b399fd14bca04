-- kind: history
-- What earlier runs showed of a material at a temperature and a load (in bins of 50 nN).
SELECT
  material,
  temperature_K,
  FLOOR(load_nN / 50) AS load_bin,
  COUNT(*) AS steps,
  AVG(line_density_per_A2) AS mean_density,
  STDDEV_POP(line_density_per_A2) AS deviation
FROM history
WHERE outcome = 'inferred' AND line_density_per_A2 IS NOT NULL AND load_nN IS NOT NULL
GROUP BY material, temperature_K, FLOOR(load_nN / 50)
