// YAML read strictly: version 1.2, one document without anchors, aliases, tags, directives or duplicate keys, bounded in size, depth
// and number before the library recurses into it. What the documents mean is for their readers.

import { Composer, type CST, isMap, isScalar, isSeq, LineCounter, Parser } from 'yaml'
import { MeshError, type MeshErrorCode } from './errors.js'
import { nearest } from './nearest.js'

const MAX_DEPTH = 16
const MAX_ENTRIES = 10_000
const MAX_FINDINGS = 20
const MAX_FINDING_LENGTH = 400

/** What was found wrong, and where. Offsets are UTF-16 indices into the document. */
export interface Findings {
  add(offset: number, what: string): void
  lineOf(offset: number): number
  /** @throws MeshError the document's code when anything was added */
  check(): void
}

/** A value and where it (or, when it is empty, its key) stands. */
export interface Place {
  readonly node: unknown
  readonly offset: number
}

/** What a document is, beside its text. */
export interface YamlKind {
  /** Names it in findings. */
  readonly file: string
  /** Of the error that holds the findings. */
  readonly code: MeshErrorCode
  readonly maxBytes: number
  /** `failsafe`: every value is the text that was written; `core`: numbers, booleans and null are told apart. */
  readonly schema: 'core' | 'failsafe'
}

/** @throws MeshError `code` when the text is too large or not YAML of the kind above */
export function openYaml(yaml: string, kind: YamlKind): { root: Place; findings: Findings } {
  const { maxBytes } = kind
  const counter = new LineCounter()
  const findings = openFindings(counter, kind)
  if (Buffer.byteLength(yaml) > maxBytes) {
    findings.add(0, `the document is larger than ${maxBytes} bytes`)
    findings.check()
  }
  const tokens = [...new Parser(counter.addNewLine).parse(yaml)]
  checkTokens(tokens, findings)
  findings.check()
  const root = compose(tokens, kind, findings)
  findings.check()
  return { root, findings }
}

function openFindings(counter: LineCounter, { file, code }: YamlKind): Findings {
  const found: { offset: number; what: string }[] = []
  const named = ({ offset, what }: { offset: number; what: string }): string => {
    const { line, col } = counter.linePos(offset)
    return `${file}:${Math.max(line, 1)}:${Math.max(col, 1)}: ${what}`
  }
  return {
    add: (offset, what) =>
      void found.push({ offset, what: what.slice(0, MAX_FINDING_LENGTH).replace(/\p{Cc}/gu, '?') }),
    lineOf: (offset) => Math.max(counter.linePos(offset).line, 1),
    check() {
      if (found.length === 0) return
      const shown = found
        .sort((a, b) => a.offset - b.offset)
        .slice(0, MAX_FINDINGS)
        .map(named)
      if (found.length > MAX_FINDINGS) shown.push(`and ${found.length - MAX_FINDINGS} more`)
      throw new MeshError(code, shown.join('\n'))
    },
  }
}

const FORBIDDEN: Readonly<Record<string, string>> = {
  anchor: 'anchors (&) are not used here',
  alias: 'aliases (*) are not used here; put quotes around text that begins with *',
  tag: 'tags (!) are not used here; put quotes around text that begins with !',
  directive: 'directives (%) are not used here',
}

/** Bounds the tree, and refuses the parts of YAML that make one text mean another. */
function checkTokens(tokens: readonly CST.Token[], findings: Findings): void {
  const open: { token: unknown; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }))
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { token, depth } = next
    if (typeof token !== 'object' || token === null) continue
    if (depth > MAX_DEPTH) {
      findings.add((token as { offset?: number }).offset ?? 0, 'nested too deeply')
      return
    }
    checkToken(token, findings)
    // Items of a collection have no type of their own and add no depth.
    const inside = depth + ('type' in token ? 1 : 0)
    for (const part of [...partsOf(token)].reverse()) open.push({ token: part, depth: inside })
  }
}

function checkToken(token: object, findings: Findings): void {
  const { type = '', offset = 0, items } = token as { type?: string; offset?: number; items?: unknown }
  const forbidden = Object.hasOwn(FORBIDDEN, type) ? FORBIDDEN[type] : undefined
  if (forbidden !== undefined) findings.add(offset, forbidden)
  if (Array.isArray(items) && items.length > MAX_ENTRIES)
    findings.add(offset, `more than ${MAX_ENTRIES} entries`)
}

/** The tokens inside a token or an item of a collection. */
function* partsOf(token: object): Iterable<unknown> {
  for (const name of ['start', 'key', 'sep', 'value', 'items', 'props', 'end']) {
    const part = (token as Record<string, unknown>)[name]
    if (Array.isArray(part)) yield* part as unknown[]
    else if (part !== undefined) yield part
  }
}

function compose(tokens: readonly CST.Token[], { schema }: YamlKind, findings: Findings): Place {
  const composer = new Composer({
    version: '1.2',
    schema,
    strict: true,
    uniqueKeys: true,
    merge: false,
  })
  const [first, second] = [...composer.compose(tokens)]
  for (const { pos, message } of [...(first?.errors ?? []), ...(first?.warnings ?? [])])
    findings.add(pos[0], firstLine(message))
  if (second !== undefined)
    findings.add(second.range[0], 'a second document begins here; there may be one only')
  return { node: first?.contents ?? null, offset: 0 }
}

const firstLine = (message: string): string => {
  const [line = ''] = message.split('\n')
  return line.charAt(0).toLowerCase() + line.slice(1)
}

/** A mapping with exactly these keys; those that are there. */
export function readMap(
  place: Place | undefined,
  what: string,
  keys: readonly string[],
  findings: Findings,
): Map<string, Place> | undefined {
  const fields = readSome(place, what, keys, findings)
  for (const key of keys)
    if (fields?.has(key) === false) findings.add(place?.offset ?? 0, `${what} needs ${key}`)
  return fields
}

/** A mapping with some of these keys. */
export function readSome(
  place: Place | undefined,
  what: string,
  keys: readonly string[],
  findings: Findings,
): Map<string, Place> | undefined {
  if (place === undefined) return undefined
  const { node, offset } = place
  if (!isMap(node)) {
    findings.add(offset, `${what} must be a mapping with ${keys.join(', ')}`)
    return undefined
  }
  const fields = new Map<string, Place>()
  for (const { key, value } of node.items) {
    const keyOffset = offsetOf(key) ?? offset
    const name = isScalar(key) ? String(key.value) : ''
    if (keys.includes(name)) fields.set(name, { node: value, offset: offsetOf(value) ?? keyOffset })
    else
      findings.add(keyOffset, `${what} has no key ${JSON.stringify(name.slice(0, 40))}; ${meant(name, keys)}`)
  }
  return fields
}

const meant = (name: string, keys: readonly string[]): string => {
  const known = nearest(name, keys)
  return known === undefined ? `it has ${keys.join(', ')}` : `did you mean ${known}?`
}

/** A mapping whose keys are free: each as written, with its value. */
export function readEntries(
  place: Place | undefined,
  what: string,
  max: number,
  findings: Findings,
): { readonly key: string; readonly value: Place }[] {
  if (place === undefined) return []
  const { node, offset } = place
  if (!isMap(node)) {
    findings.add(offset, `${what} must be a mapping`)
    return []
  }
  if (node.items.length > max) findings.add(offset, `${what} has more than ${max} entries`)
  return node.items.map(({ key, value }) => ({
    key: isScalar(key) ? String(key.value) : '',
    value: { node: value, offset: offsetOf(key) ?? offset },
  }))
}

export function readList(place: Place | undefined, what: string, max: number, findings: Findings): Place[] {
  if (place === undefined) return []
  const { node, offset } = place
  if (!isSeq(node)) {
    findings.add(offset, `${what} must be a list; write [] for none`)
    return []
  }
  if (node.items.length > max) findings.add(offset, `${what} has more than ${max} entries`)
  return node.items.map((item) => ({ node: item, offset: offsetOf(item) ?? offset }))
}

/** Text that `check` takes; what it throws becomes a finding. */
export function readWord(
  place: Place | undefined,
  what: string,
  check: (raw: string) => unknown,
  findings: Findings,
): string | undefined {
  const asWritten = (raw: string): string => {
    check(raw)
    return raw
  }
  return readParsed(place, what, asWritten, findings)
}

/** What `parse` makes of the text; what it throws becomes a finding. */
export function readParsed<T>(
  place: Place | undefined,
  what: string,
  parse: (raw: string) => T,
  findings: Findings,
): T | undefined {
  if (place === undefined) return undefined
  const { node, offset } = place
  if (!isScalar(node) || typeof node.value !== 'string') {
    findings.add(offset, `${what} must be text`)
    return undefined
  }
  try {
    return parse(node.value)
  } catch (error) {
    if (!(error instanceof MeshError)) throw error
    findings.add(offset, error.message)
    return undefined
  }
}

function offsetOf(node: unknown): number | undefined {
  const { range } = (node ?? {}) as { range?: readonly number[] | null }
  return range?.[0]
}

/** The whole number 1. */
export function readOne(place: Place | undefined, what: string, findings: Findings): void {
  if (place === undefined || (isScalar(place.node) && place.node.value === 1)) return
  findings.add(place.offset, `${what} must be 1`)
}
