// The known word that a mistyped one most likely meant.

/** The nearest of `known` within two edits (one for short words), or undefined. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 40) return undefined
  const ranked = known
    .map((candidate) => ({ candidate, edits: editsBetween(word.toLowerCase(), candidate) }))
    .filter(({ candidate, edits }) => edits <= (candidate.length > 4 ? 2 : 1))
    .sort((a, b) => a.edits - b.edits)
  return ranked[0]?.candidate
}

/** Levenshtein distance: insertions, deletions and substitutions. */
function editsBetween(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row += 1) {
    const here = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1] ? 0 : 1
      here.push(
        Math.min((above[column] ?? 0) + 1, (here[column - 1] ?? 0) + 1, (above[column - 1] ?? 0) + same),
      )
    }
    above = here
  }
  return above[to.length] ?? 0
}
