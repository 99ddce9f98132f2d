// Path patterns of a policy and the tree that finds the most specific one for a path. Literals are compared percent-decoded and
// one trailing slash makes no difference, so that no spelling of a path slips past a narrow rule into a wider one.

import { isMeshError, MeshError } from '../errors.js'
import { parseTarget } from '../operation.js'

/** A literal (percent-decoded), one whole segment `*`, or any rest `**`. */
export type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'one' }
  | { readonly kind: 'rest' }

export const PATTERN_MAX_LENGTH = 1024
export const PATTERN_MAX_SEGMENTS = 32

/**
 * Reads `/tickets/*`, `/tickets/**`, `/tickets/42/notes`.
 * @throws MeshError POLICY_MALFORMED saying what is wrong with the pattern
 */
export function parsePathPattern(raw: string): Segment[] {
  const refuse = (why: string): never => {
    throw new MeshError('POLICY_MALFORMED', `path ${JSON.stringify(raw.slice(0, 120))}: ${why}`)
  }
  if (raw.length > PATTERN_MAX_LENGTH) refuse(`longer than ${PATTERN_MAX_LENGTH} characters`)
  const path = canonical(raw, refuse)
  if (path === '/') return []
  if (path.endsWith('/')) refuse('leave out the slash at its end; it makes no difference')
  const segments = path.slice(1).split('/')
  if (segments.length > PATTERN_MAX_SEGMENTS) refuse(`more than ${PATTERN_MAX_SEGMENTS} segments`)
  return segments.map((segment, index) => {
    if (segment === '**') {
      return index === segments.length - 1 ? { kind: 'rest' } : refuse('** may only stand at the end')
    }
    if (segment === '*') return { kind: 'one' }
    if (segment.includes('*')) refuse('* stands for a whole segment; write a literal star as %2A')
    return { kind: 'literal', text: decodeSegment(segment) }
  })
}

function canonical(raw: string, refuse: (why: string) => never): string {
  try {
    const { path, query } = parseTarget(raw)
    return query === '' ? path : refuse('a pattern has no query')
  } catch (error) {
    if (!isMeshError(error, 'CALL_PATH_REFUSED')) throw error
    return refuse(error.message)
  }
}

/** One spelling for each pattern: equal patterns have equal keys. */
export function patternKey(segments: readonly Segment[]): string {
  return JSON.stringify(
    segments.map((segment) => (segment.kind === 'literal' ? segment.text : [segment.kind])),
  )
}

/** Rules by path, then by method. */
export interface PathTree<T> {
  readonly literals: Map<string, PathTree<T>>
  one: PathTree<T> | undefined
  /** Rules whose pattern ends here, and those that end here with `**`; by method, `*` for any. */
  readonly end: Map<string, T>
  readonly rest: Map<string, T>
}

export function emptyTree<T>(): PathTree<T> {
  return { literals: new Map(), one: undefined, end: new Map(), rest: new Map() }
}

/** @returns false when the tree holds that pattern for that method already; it is unchanged then */
export function addRule<T>(
  root: PathTree<T>,
  segments: readonly Segment[],
  method: string,
  rule: T,
): boolean {
  let node = root
  let rules = root.end
  for (const segment of segments) {
    if (segment.kind === 'rest') {
      rules = node.rest
      break
    }
    const next: PathTree<T> =
      (segment.kind === 'one' ? node.one : node.literals.get(segment.text)) ?? emptyTree<T>()
    if (segment.kind === 'one') node.one = next
    else node.literals.set(segment.text, next)
    node = next
    rules = next.end
  }
  if (rules.has(method)) return false
  rules.set(method, rule)
  return true
}

/**
 * The most specific rule for a method and a canonical path. Segment by segment from the left, a literal beats `*` and `*` beats
 * `**`; of equal paths the named method beats `*`. Visits each node of the tree at most once.
 */
export function findRule<T>(root: PathTree<T>, method: string, path: string): T | undefined {
  return findFrom(root, method, path, 1)
}

function findFrom<T>(node: PathTree<T>, method: string, path: string, at: number): T | undefined {
  if (at >= path.length) return ofMethod(node.end, method) ?? ofMethod(node.rest, method)
  if (node.literals.size > 0 || node.one !== undefined) {
    const slash = path.indexOf('/', at)
    const end = slash === -1 ? path.length : slash
    const literal = node.literals.get(decodeSegment(path.slice(at, end)))
    const found =
      (literal && findFrom(literal, method, path, end + 1)) ??
      (node.one && findFrom(node.one, method, path, end + 1))
    if (found !== undefined) return found
  }
  return ofMethod(node.rest, method)
}

const ofMethod = <T>(rules: ReadonlyMap<string, T>, method: string): T | undefined =>
  rules.get(method) ?? rules.get('*')

/** The segment percent-decoded; as it stands when its bytes are not UTF-8. */
function decodeSegment(segment: string): string {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
