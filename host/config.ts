// The settings of one home: `<home>/config.yaml`, one flat key a line. The table below is the whole truth: key, how it is
// parsed, its default and why; init writes the file from it and readConfig refuses what it does not hold. No secret lives here.

import { isIP } from 'node:net'
import path from 'node:path'
import { isScalar, LineCounter, parseDocument, YAMLMap } from 'yaml'
import { parseDuration } from '../mesh/duration.js'
import { MeshError } from '../mesh/errors.js'
import { parseTrustDomain, type TrustDomain } from '../mesh/spiffe-id.js'
import { readIfThere } from './files.js'
import type { Level } from './log.js'

export interface Config {
  readonly trustDomain: TrustDomain | null
  /** What tokens and server certificates carry: an IP address or DNS name, no port. */
  readonly address: string
  /** Where CA and collector listen; null: see `listenHostOf`. */
  readonly listen: string | null
  readonly dev: boolean
  readonly caPort: number
  readonly collectorPort: number
  readonly leafTtlMs: number
  readonly feedMaxStalenessMs: number
  readonly feedOnStale: 'allow' | 'deny'
  readonly auditOnFailure: 'deny' | 'allow'
  readonly auditDurability: 'process' | 'power'
  readonly auditMaxDiskBytes: number
  readonly bodyMaxBytes: number
  readonly connectTimeoutMs: number
  readonly headTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly streamMaxAgeMs: number
  readonly drainMs: number
  /** `host:port`, lower case. */
  readonly egressTunnels: ReadonlySet<string>
  readonly logLevel: Level
}

/** One key of config.yaml. `parse` takes the scalar as it was written, and throws what is wrong with it. */
export interface Setting {
  readonly key: string
  readonly member: keyof Config
  readonly parse: (raw: string) => Config[keyof Config]
  /** As it would be written in the file; null: absent means "not set". */
  readonly default: string | null
  readonly why: string
}

const HOST_NAME = /^(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*$/i

/** @throws Error */
function host(raw: string): string {
  if (isIP(raw) === 0 && (raw.length > 253 || !HOST_NAME.test(raw)))
    throw new Error('must be an IP address or a host name, without a port')
  return raw.toLowerCase()
}

function port(raw: string): number {
  const value = Number(raw)
  if (!/^\d{1,5}$/.test(raw) || value > 65_535) throw new Error('must be a port from 0 to 65535')
  return value
}

/** `none`, or hosts with their ports. @throws Error */
function tunnels(raw: string): ReadonlySet<string> {
  return new Set(raw === 'none' ? [] : raw.split(',').map((each) => hostAndPort(each.trim())))
}

function hostAndPort(raw: string): string {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(raw) ?? []
  const name = bracketed ?? plain
  if (name === undefined || digits === undefined || port(digits) === 0)
    throw new Error('must be none, or host:port, separated by commas')
  if (host(name).endsWith('.mesh')) throw new Error('hosts of the mesh are called, not tunnelled to')
  return `${bracketed === undefined ? host(name) : `[${host(name)}]`}:${port(digits)}`
}

const oneOf =
  <const T extends string>(...options: readonly T[]) =>
  (raw: string): T => {
    const found = options.find((option) => option === raw)
    if (found === undefined) throw new Error(`must be one of ${options.join(', ')}`)
    return found
  }

const duration =
  (least: string, most: string) =>
  (raw: string): number => {
    const value = parseDuration(raw)
    if (value < parseDuration(least) || value > parseDuration(most))
      throw new Error(`must be from ${least} to ${most}`)
    return value
  }

const UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

const bytes =
  (least: number) =>
  (raw: string): number => {
    const match = /^(\d{1,9})(B|KiB|MiB|GiB)$/.exec(raw)
    const value = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN)
    if (!Number.isSafeInteger(value)) throw new Error('must be a size like 512KiB, 64MiB or 2GiB')
    if (value < least) throw new Error(`must be at least ${least}B`)
    return value
  }

const flag = (raw: string): boolean => oneOf('true', 'false')(raw) === 'true'

/** Every setting, in the order init writes them. */
export const SETTINGS: readonly Setting[] = [
  {
    key: 'trustDomain',
    member: 'trustDomain',
    parse: parseTrustDomain,
    default: null,
    why: 'the name of the mesh, in every identity; cannot change after init',
  },
  {
    key: 'address',
    member: 'address',
    parse: host,
    default: '127.0.0.1',
    why: 'where other hosts reach CA and collector; tokens carry it. Change it with: troth ca address HOST',
  },
  {
    key: 'listen',
    member: 'listen',
    parse: host,
    default: null,
    why: 'where CA and collector listen; not set: on the address itself, or on all when that is a name',
  },
  {
    key: 'dev',
    member: 'dev',
    parse: flag,
    default: 'false',
    why: 'accept a TROTH DEV root and its unattended passphrase; never in production',
  },
  {
    key: 'ca.port',
    member: 'caPort',
    parse: port,
    default: '7410',
    why: 'members enrol, renew and follow the feed here',
  },
  {
    key: 'collector.port',
    member: 'collectorPort',
    parse: port,
    default: '7411',
    why: 'sidecars ship their ledgers here',
  },
  {
    key: 'leaf.ttl',
    member: 'leafTtlMs',
    parse: duration('15m', '7d'),
    default: '24h',
    why: 'life of a certificate, 15m to 7d; it is renewed at half of it',
  },
  {
    key: 'feed.maxStaleness',
    member: 'feedMaxStalenessMs',
    parse: duration('30s', '7d'),
    default: '10m',
    why: 'silence of the CA after which revocations may have been missed',
  },
  {
    key: 'feed.onStale',
    member: 'feedOnStale',
    parse: oneOf('allow', 'deny'),
    default: 'allow',
    why: 'what happens to new calls then: allow (bounded by the leaf) or deny',
  },
  {
    key: 'audit.onFailure',
    member: 'auditOnFailure',
    parse: oneOf('deny', 'allow'),
    default: 'deny',
    why: 'when the ledger cannot be written: deny calls, or allow them unrecorded',
  },
  {
    key: 'audit.durability',
    member: 'auditDurability',
    parse: oneOf('process', 'power'),
    default: 'process',
    why: 'what a recorded call survives: process (kill -9) or power (fsync at each commit)',
  },
  {
    key: 'audit.maxDisk',
    member: 'auditMaxDiskBytes',
    parse: bytes(1024 * 1024),
    default: '2GiB',
    why: 'the most that one ledger may take on disk',
  },
  {
    key: 'body.max',
    member: 'bodyMaxBytes',
    parse: bytes(0),
    default: '64MiB',
    why: 'the largest request body that is passed on',
  },
  {
    key: 'connect.timeout',
    member: 'connectTimeoutMs',
    parse: duration('100ms', '5m'),
    default: '5s',
    why: 'TCP and TLS to a peer, both together',
  },
  {
    key: 'head.timeout',
    member: 'headTimeoutMs',
    parse: duration('1s', '1h'),
    default: '5m',
    why: 'wait for the head of an answer; agents may think for long',
  },
  {
    key: 'idle.timeout',
    member: 'idleTimeoutMs',
    parse: duration('1s', '24h'),
    default: '10m',
    why: 'a call over which no byte moved for so long is ended',
  },
  {
    key: 'stream.maxAge',
    member: 'streamMaxAgeMs',
    parse: duration('1m', '7d'),
    default: '24h',
    why: 'the longest a single call may last',
  },
  {
    key: 'drain.time',
    member: 'drainMs',
    parse: duration('0s', '10m'),
    default: '10s',
    why: 'how long running calls may finish after SIGTERM',
  },
  {
    key: 'egress.tunnels',
    member: 'egressTunnels',
    parse: tunnels,
    default: 'none',
    why: 'where agents may CONNECT to through their sidecar: none, or exact host:port, separated by commas',
  },
  {
    key: 'log.level',
    member: 'logLevel',
    parse: oneOf('debug', 'info', 'warn', 'error'),
    default: 'info',
    why: 'the least level that is logged',
  },
]

const configFile = (home: string): string => path.join(home, 'config.yaml')

/**
 * The settings of a home; the defaults where it has no config.yaml.
 * @throws MeshError CONFIG_INVALID naming file, line and column; STATE_UNREADABLE
 */
export function readConfig(home: string): Config {
  const file = configFile(home)
  return parseConfig(readIfThere(file) ?? '', file)
}

/**
 * Reads the text of a config.yaml; `file` names it in errors.
 * @throws MeshError CONFIG_INVALID
 */
export function parseConfig(yaml: string, file: string): Config {
  const config: Partial<Record<keyof Config, Config[keyof Config]>> = {}
  for (const { member, parse, default: absent } of SETTINGS)
    config[member] = absent === null ? null : parse(absent)
  for (const { setting, raw, place } of entriesOf(yaml, file)) {
    try {
      config[setting.member] = setting.parse(raw)
    } catch (error) {
      throw new MeshError(
        'CONFIG_INVALID',
        `${place}: ${setting.key}: ${error instanceof Error ? error.message : 'refused'}`,
        { hint: `correct ${setting.key} in ${file}` },
      )
    }
  }
  return config as Config
}

/** The host that CA and collector listen on when neither flag nor `listen` says. */
export function listenHostOf(config: Pick<Config, 'listen' | 'address'>): string {
  return config.listen ?? (isIP(config.address) === 0 ? '0.0.0.0' : config.address)
}

/** A commented config.yaml: `chosen` stands as written, every default stands as a comment. */
export function formatConfig(chosen: Readonly<Record<string, string>>): string {
  const lines = ['# Settings of this home. Each key is shown with its default; remove the # to set it.']
  for (const { key, default: absent, why } of SETTINGS) {
    const value = chosen[key]
    lines.push(
      '',
      `# ${why}`,
      value === undefined ? `# ${key}: ${absent ?? ''}`.trimEnd() : `${key}: ${value}`,
    )
  }
  return `${lines.join('\n')}\n`
}

/** The text of a config.yaml with one setting changed; its comments stay. */
export function withSetting(yaml: string, key: string, value: string): string {
  const document = parseDocument(yaml)
  document.set(key, value)
  return document.toString({ lineWidth: 0 })
}

interface Entry {
  readonly setting: Setting
  readonly raw: string
  /** `file:line:column` of the value. */
  readonly place: string
}

function entriesOf(yaml: string, file: string): Entry[] {
  const counter = new LineCounter()
  const document = parseDocument(yaml, { lineCounter: counter, schema: 'failsafe', uniqueKeys: true })
  const place = (offset: number): string => {
    const { line, col } = counter.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const broken = document.errors[0] ?? document.warnings[0]
  if (broken !== undefined)
    throw new MeshError(
      'CONFIG_INVALID',
      `${place(broken.pos[0])}: ${broken.message.split(' at line')[0] ?? 'not YAML'}`,
      {
        hint: `correct ${file}`,
      },
    )
  if (document.contents === null) return []
  if (isScalar(document.contents) && document.contents.value === '') return []
  if (!(document.contents instanceof YAMLMap))
    throw new MeshError('CONFIG_INVALID', `${place(0)}: must be a list of key: value lines`, {
      hint: `correct ${file}`,
    })
  return document.contents.items.map(({ key, value }) => entryOf(key, value, { place, file }))
}

function entryOf(
  key: unknown,
  value: unknown,
  { place, file }: { place: (offset: number) => string; file: string },
): Entry {
  const at = (node: unknown): string => place(isScalar(node) ? (node.range?.[0] ?? 0) : 0)
  const name = isScalar(key) ? String(key.value) : ''
  const setting = SETTINGS.find((each) => each.key === name)
  if (setting === undefined)
    throw new MeshError('CONFIG_INVALID', `${at(key)}: ${JSON.stringify(name.slice(0, 80))} is no setting`, {
      hint: hintFor(name, file),
    })
  if (!isScalar(value) || typeof value.value !== 'string')
    throw new MeshError('CONFIG_INVALID', `${at(key)}: ${name} must have one plain value`, {
      hint: `correct ${name} in ${file}`,
    })
  return { setting, raw: value.value, place: at(value) }
}

function hintFor(name: string, file: string): string {
  const nested = SETTINGS.filter(({ key }) => key.startsWith(`${name}.`)).map(({ key }) => key)
  return nested.length > 0
    ? `keys are flat: write ${nested.join(' or ')}`
    : `remove it from ${file}; the settings are ${SETTINGS.map(({ key }) => key).join(' ')}`
}
