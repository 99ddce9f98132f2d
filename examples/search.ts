// Full-text search over this project's own documentation: an inverted index of paragraphs, ranked with BM25 (Robertson and
// Zaragoza, 2009). Built once at start, kept in memory.
// usage: node search.js [PORT | unix:PATH]

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { answering, checkIngress, HttpError, ingressSecretFile, sendJson, serve } from './app.js'

interface Passage {
  readonly file: string
  /** Line where it begins, from 1. */
  readonly line: number
  readonly heading: string
  readonly text: string
  readonly length: number
}

export interface Hit {
  readonly file: string
  readonly line: number
  readonly heading: string
  readonly score: number
  readonly snippet: string
}

const K1 = 1.2
const B = 0.75
const SHORT_CHARS = 120
const SNIPPET_CHARS = 280
const MAX_HITS = 20
const STOP_WORDS = new Set(
  'a an and are as at be been but by can did do does for from get had has have how i if in into is it its me my no not of on or our should so than that the their them then there they this to too was we were what when where which while who why will with would you your'.split(
    ' ',
  ),
)

/** Lower-case words; `feed.maxStaleness` counts as itself and as its parts; a plural as its singular. */
export function wordsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+(?:[._-][a-z0-9]+)*/g) ?? []
  return words
    .flatMap((word) => (/[._-]/.test(word) ? [word, ...word.split(/[._-]/)] : [word]))
    .filter((word) => !STOP_WORDS.has(word))
    .map((word) => (word.length > 3 ? word.replace(/(?<!s)s$/, '') : word))
}

/** Paragraphs (short ones together) and table rows (without the table's head) of a Markdown text, each with the heading above it. */
export function passagesOf(file: string, markdown: string): Passage[] {
  const passages: Passage[] = []
  const lines = markdown.split('\n')
  let heading = ''
  let text = ''
  let begin = 0
  const flush = (): void => {
    if (text !== '') passages.push({ file, line: begin, heading, text, length: wordsOf(text).length })
    text = ''
  }
  lines.forEach((line, index) => {
    const isRow = line.startsWith('|')
    const isTableHead = isRow && [line, lines[index + 1]].some((each) => each?.startsWith('|---') === true)
    const isGap = line.trim() === ''
    if (isRow || line.startsWith('#') || (isGap && text.length > SHORT_CHARS)) flush()
    if (line.startsWith('#')) heading = line.replace(/^#+\s*|<[^>]*>/g, '')
    else if (!isGap && !isTableHead) {
      if (text === '') begin = index + 1
      text = `${text} ${line}`.trim()
    }
    if (isRow) flush()
  })
  flush()
  return passages
}

/** Answers queries with the best passages first; a word in the heading counts twice. */
export function buildIndex(passages: readonly Passage[]): (query: string, limit: number) => Hit[] {
  const postings = new Map<string, Map<number, number>>()
  passages.forEach(({ text, heading }, index) => {
    for (const word of [...wordsOf(text), ...wordsOf(heading), ...wordsOf(heading)]) {
      const counts = postings.get(word) ?? new Map<number, number>()
      postings.set(word, counts.set(index, (counts.get(index) ?? 0) + 1))
    }
  })
  const average = passages.reduce((sum, { length }) => sum + length, 0) / Math.max(passages.length, 1)

  return (query, limit) => {
    const scores = new Map<number, number>()
    for (const word of new Set(wordsOf(query))) {
      const counts = postings.get(word) ?? new Map<number, number>()
      const idf = Math.log(1 + (passages.length - counts.size + 0.5) / (counts.size + 0.5))
      for (const [index, count] of counts) {
        const norm = 1 - B + (B * (passages[index]?.length ?? 0)) / average
        scores.set(index, (scores.get(index) ?? 0) + (idf * count * (K1 + 1)) / (count + K1 * norm))
      }
    }
    return [...scores]
      .sort((a, b) => b[1] - a[1] || a[0] - b[0])
      .slice(0, limit)
      .flatMap(([index, score]) => {
        const passage = passages[index]
        return passage === undefined ? [] : [hitOf(passage, score)]
      })
  }
}

const hitOf = ({ file, line, heading, text }: Passage, score: number): Hit => ({
  file,
  line,
  heading,
  score: Math.round(score * 100) / 100,
  snippet: text.length > SNIPPET_CHARS ? `${text.slice(0, SNIPPET_CHARS)}…` : text,
})

/** README.md and docs/*.md below `root`. */
export function readDocs(root: string): Passage[] {
  const docs = readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'))
  return ['README.md', ...docs.sort().map((name) => `docs/${name}`)].flatMap((file) =>
    passagesOf(file, readFileSync(path.join(root, file), 'utf8')),
  )
}

/** The app as a server that does not listen yet. */
export function searchApp(root: string, secretFile: string): Server {
  const search = buildIndex(readDocs(root))
  return createServer(
    answering((request, response) => {
      checkIngress(request, secretFile)
      const url = new URL(request.url ?? '/', 'http://search.mesh')
      const query = url.searchParams.get('q') ?? ''
      const limit = Math.min(
        Math.max(Math.trunc(Number(url.searchParams.get('limit') ?? 5)) || 1, 1),
        MAX_HITS,
      )
      if (url.pathname !== '/search') throw new HttpError(404, 'not found')
      if (request.method !== 'GET') throw new HttpError(405, 'only GET is served here')
      if (query === '' || query.length > 1000) throw new HttpError(400, 'give q, at most 1000 characters')
      sendJson(response, 200, { query, hits: search(query, limit) })
    }),
  )
}

/** The project's root, from the source tree and from dist/. */
function projectRoot(): string {
  let dir = import.meta.dirname
  while (!existsSync(path.join(dir, 'package.json'))) dir = path.dirname(dir)
  return dir
}

if (import.meta.filename === process.argv[1]) {
  const where = process.argv[2] ?? process.env['PORT']
  if (where === undefined) {
    console.error('usage: search.js [PORT | unix:PATH], or PORT in the environment')
    process.exit(2)
  }
  serve('search', searchApp(projectRoot(), ingressSecretFile()), where)
}
