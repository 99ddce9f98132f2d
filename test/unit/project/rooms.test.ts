import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { ESLint } from 'eslint'
import { afterEach, describe, expect, it } from 'vitest'

const { ROOMS, whyNot } = (await import(pathToFileURL(path.resolve('eslint.rooms.js')).href)) as {
  ROOMS: readonly { readonly room: string }[]
  whyNot: (file: string, specifier: string) => string | undefined
}

const MAY_SWITCH_VERIFICATION_OFF = ['sidecar/egress/dial.ts', 'sidecar/ingress/listener.ts']
const ROOT = path.resolve('.')
/** Written in two parts, so that the scan below does not find this file. */
const SWITCH = ['reject', 'Unauthorized'].join('')

/** Every TypeScript and JavaScript file of the project, relative to its root. */
function sources(dir = '.'): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
    const place = path.posix.join(dir, entry.name)
    if (entry.isDirectory())
      return entry.name.startsWith('.') || ['node_modules', 'dist', 'out'].includes(entry.name)
        ? []
        : sources(place)
    return /\.(ts|js|mjs|cjs)$/.test(entry.name) ? [place] : []
  })
}

describe('the walls between the rooms', () => {
  it.each([
    ['mesh/svid.ts', '../host/clock.js'],
    ['mesh/operation.ts', 'node:fs'],
    ['mesh/operation.ts', 'yaml'],
    ['mesh/policy/document.ts', 'yaml'],
    ['mesh/yaml.ts', 'node:crypto'],
    ['host/clock.ts', '../member/member.js'],
    ['host/files.ts', 'better-sqlite3'],
    ['member/member.ts', '../sidecar/main.js'],
    ['ca/main.ts', '../sidecar/main.js'],
    ['ca/main.ts', '../member/member.js'],
    ['ca/store.ts', 'better-sqlite3'],
    ['sidecar/main.ts', '../collector/main.js'],
    ['sidecar/egress/dial.ts', '../ingress/listener.js'],
    ['sidecar/ingress/listener.ts', '../egress/dial.js'],
    ['sidecar/call/exchange.ts', '../egress/dial.js'],
    ['sidecar/call/exchange.ts', '../../host/log.js'],
    ['collector/main.ts', '../ca/store.js'],
    ['cli/main.ts', '../sidecar/sidecar.js'],
    ['cli/main.ts', 'ws'],
    ['sidecar/main.ts', 'commander'],
    ['cli/main.ts', '../test/support/manual-clock.js'],
    ['host/clock.ts', '../bench/main.js'],
    ['examples/search.ts', '../mesh/errors.js'],
  ])('%s may not import %s', (file, specifier) => {
    expect(whyNot(file, specifier)).toBeTypeOf('string')
  })

  it.each([
    ['mesh/operation.ts', './errors.js'],
    ['mesh/yaml.ts', 'yaml'],
    ['host/sqlite.ts', 'better-sqlite3'],
    ['host/files.ts', 'node:fs'],
    ['ca/main.ts', '../host/clock.js'],
    ['sidecar/main.ts', './egress/dial.js'],
    ['cli/main.ts', '../sidecar/main.js'],
    ['cli/main.ts', 'commander'],
  ])('%s may import %s', (file, specifier) => {
    expect(whyNot(file, specifier)).toBeUndefined()
  })

  it('are drawn for every folder of sources', () => {
    const folders = new Set(
      sources()
        .filter((file) => file.includes('/'))
        .map((file) => file.split('/')[0]),
    )
    const rooms = new Set(ROOMS.map(({ room }) => room.split('/')[0]))
    expect([...folders].filter((folder) => !rooms.has(folder) && folder !== 'test')).toEqual([])
  })
})

describe('the linter', { timeout: 120_000 }, () => {
  const planted: string[] = []
  afterEach(() => {
    for (const file of planted.splice(0)) rmSync(file, { force: true })
  })

  /** Rule and message of everything that ESLint says of `code` in a new file of `folder`. */
  async function lint(folder: string, code: string): Promise<string[]> {
    mkdirSync(folder, { recursive: true })
    const file = path.join(ROOT, folder, `planted-${process.pid}.ts`)
    planted.push(file)
    writeFileSync(file, code)
    const results = await new ESLint({ cwd: ROOT }).lintFiles([file])
    return results.flatMap(({ messages }) =>
      messages.map(({ ruleId, message }) => `${ruleId ?? 'none'}: ${message}`),
    )
  }

  it('reports a planted import from the host in the mesh', async () => {
    const found = await lint(
      'mesh',
      "import { systemClock } from '../host/clock.js'\nexport const clock = systemClock\n",
    )
    expect(found).toContain('rooms/imports: mesh may not import host/clock.ts')
  })

  it.each(['host', 'test/unit/project'])('reports verification switched off in %s', async (folder) => {
    const found = await lint(folder, `export const options = { ${SWITCH}: false }\n`)
    expect(found.join('\n')).toContain('TLS verification is never touched')
  })
})

describe('TLS verification', () => {
  it('is switched off in no more than the two files with a judge of their own, one line each', () => {
    const found = sources().flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => new RegExp(`${SWITCH}['"\`]?\\]?\\s*[:=]\\s*(false|!1|0)`).test(line))
        .map(() => file),
    )
    expect(found.filter((file) => !MAY_SWITCH_VERIFICATION_OFF.includes(file))).toEqual([])
    expect(new Set(found).size).toBe(found.length)
  })

  it('is not switched off by the environment', () => {
    const name = ['NODE_TLS_REJECT', 'UNAUTHORIZED'].join('_')
    expect(sources().filter((file) => readFileSync(file, 'utf8').includes(name))).toEqual([])
  })
})
