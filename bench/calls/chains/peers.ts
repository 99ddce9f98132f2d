// Other people's proxies: which are on this machine, where they find what they need, and what a foreign client needs at their door.

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Door } from './chain.js'
import { APP_NAME, type PeerFiles } from './peer-certificates.js'

export const PEERS = ['nginx', 'haproxy', 'caddy'] as const
export type Peer = (typeof PEERS)[number]

/** What every chain of peers is made from. */
export interface PeerPlace {
  /** For its configuration and its logs. */
  readonly dir: string
  /** Port of the app. */
  readonly app: number
  readonly files: PeerFiles
}

const ASKED: Record<Peer, readonly string[]> = { nginx: ['-v'], haproxy: ['-v'], caddy: ['version'] }

/** Its version as it says it; undefined when it is not installed. */
export function versionOf(peer: Peer): string | undefined {
  const { error, stdout, stderr } = spawnSync(peer, ASKED[peer], { encoding: 'utf8' })
  if (error !== undefined) return undefined
  return /\d+\.\d+(\.\d+)?/.exec(stdout + stderr)?.[0] ?? 'of unknown version'
}

export function doorOf({ root, caller }: PeerFiles, port: number, pid: number): Door {
  const text = (file: string): string => readFileSync(file, 'utf8')
  return {
    port,
    pid,
    serverName: APP_NAME,
    caPem: text(root),
    certPem: text(caller.chain),
    keyPem: text(caller.key),
  }
}
