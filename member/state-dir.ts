// Where a member keeps what must survive it: `<dir>/{svid.pem,key.pem,key.next.pem,bundle.pem,instance.json,world.json,withdrawn.json}`, each written whole or
// not at all, 0600 in a 0700 directory that one process holds at a time. It moves text; what the files mean is for others.

import { renameSync, rmdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { lockDir, makePrivateDir, readIfThere, readSecret, writeSecret } from '../host/files.js'
import type { AgentName, NamedKind } from '../mesh/spiffe-id.js'

export interface StateOwner {
  readonly home: string
  readonly kind: NamedKind
  readonly name: AgentName
  /** Another instance of the same agent on this host; null for the first. */
  readonly instance: string | null
}

export type StateFile =
  | 'svid.pem'
  | 'key.pem'
  | 'key.next.pem'
  | 'bundle.pem'
  | 'instance.json'
  | 'world.json'
  | 'withdrawn.json'

export interface StateDir {
  readonly dir: string
  /** @throws MeshError STATE_UNREADABLE | STATE_PERMISSIONS (of keys) */
  read(file: StateFile): string | undefined
  write(file: StateFile, content: string): void
  remove(file: StateFile): void
  /** `key.next.pem` becomes `key.pem`, atomically. */
  promoteNextKey(): void
  /** Gives the lock back; once. */
  release(): void
}

const KEYS: readonly StateFile[] = ['key.pem', 'key.next.pem']

/** `<home>/agents/<name>`, `<home>/agents/<name>@<instance>`, `<home>/collector` or `<home>/operators/<name>`. */
export function agentDir({ home, kind, name, instance }: StateOwner): string {
  if (kind === 'collector') return path.join(home, 'collector')
  const own = instance === null ? name : `${name}@${instance}`
  return path.join(home, kind === 'agent' ? 'agents' : 'operators', own)
}

/**
 * Creates the directory if need be and takes it for this process.
 * @throws MeshError STATE_IN_USE | STATE_UNREADABLE
 */
export function openStateDir(owner: StateOwner): StateDir {
  const dir = agentDir(owner)
  makePrivateDir(dir)
  const lock = lockDir(dir)
  const at = (file: StateFile): string => path.join(dir, file)
  let held = true
  return {
    dir,
    read: (file) => {
      const content = readIfThere(at(file))
      return content !== undefined && KEYS.includes(file) ? readSecret(at(file)) : content
    },
    write: (file, content) => writeSecret(at(file), content),
    remove: (file) => rmSync(at(file), { force: true }),
    promoteNextKey: () => renameSync(at('key.next.pem'), at('key.pem')),
    release() {
      if (!held) return
      held = false
      lock.release()
      removeIfEmpty(dir)
    },
  }
}

/** A refused enrolment leaves no trace. What holds anything stays: rmdir takes empty directories only. */
function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOENT') throw error
  }
}
