// Quantiles and medians of what was measured. No I/O.

/** The value below which the share `q` of the values lies (nearest rank); NaN of nothing. */
export function quantile(values: Iterable<number>, q: number): number {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN
}

export const median = (values: Iterable<number>): number => quantile(values, 0.5)
