// The policy lines that would allow a denied call: valid YAML in the document's own shape, to be merged into it by hand.

import type { Operation } from '../operation.js'
import type { SpiffeId } from '../spiffe-id.js'
import { nameInPolicy } from './agent-pattern.js'
import type { CompiledPolicy } from './compile.js'
import { wholeResource } from './model.js'
import { PATTERN_MAX_SEGMENTS } from './path-pattern.js'

/** Methods that are safe (RFC 9110 §9.2.1) are proposed as reading. */
const READING = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY'])
const SUGGESTED_PATH_MAX = 512

/** Entry of `agents` that grants the scope. */
export function suggestGrant(caller: string, scope: string): string {
  return ['agents:', `  - id: ${quoted(caller)}`, `    scopes: [${quoted(scope)}]`].join('\n')
}

/** Entry of `services` for the operation, and the grant unless the caller holds it already. */
export function suggestOperation(
  policy: CompiledPolicy,
  { caller, callee, operation }: { caller: SpiffeId; callee: SpiffeId; operation: Operation },
): string {
  const name = nameInPolicy(callee, policy.trustDomain)
  const resource = name.slice(name.lastIndexOf('/') + 1)
  const scope = `${resource}:${READING.has(operation.method) ? 'read' : 'write'}`
  const { lines } = policy.holdingOf(caller)
  const held = lines.has(scope) || lines.has(wholeResource(scope))
  return [
    'services:',
    `  - id: ${quoted(name)}`,
    '    operations:',
    `      - match: { method: ${operation.method}, path: ${quoted(patternOf(operation.path))} }`,
    `        scope: ${scope}`,
    ...(held ? [] : [suggestGrant(nameInPolicy(caller, policy.trustDomain), scope)]),
  ].join('\n')
}

/** A pattern that matches the path and no other; of a path too long for one, its beginning and `**`. */
function patternOf(path: string): string {
  const segments = path.replace(/\*/g, '%2A').replace(/\/$/, '').split('/').slice(1)
  let pattern = ''
  for (const [index, segment] of segments.entries()) {
    if (index + 1 >= PATTERN_MAX_SEGMENTS || pattern.length + segment.length > SUGGESTED_PATH_MAX)
      return `${pattern}/**`
    pattern += `/${segment}`
  }
  return pattern === '' ? '/' : pattern
}

/** A YAML scalar: plain where that is safe, else double-quoted, of which JSON strings are a subset. */
const quoted = (text: string): string =>
  /^[a-z/][A-Za-z0-9/._:-]*[A-Za-z0-9]$/.test(text) ? text : JSON.stringify(text)
