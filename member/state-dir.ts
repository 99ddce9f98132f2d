// Where a member keeps what must survive it: `<dir>/{svid.pem,key.pem,bundle.pem,instance.json,world.json}`.

import type { AgentName, NamedKind } from '../mesh/spiffe-id.js'

export interface StateOwner {
  readonly home: string
  readonly kind: NamedKind
  readonly name: AgentName
  /** Another instance of the same agent on this host; null for the first. */
  readonly instance: string | null
}

/** `<home>/agents/<name>`, `<home>/agents/<name>@<instance>`, `<home>/collector` or `<home>/operators/<name>`. */
export declare function agentDir(owner: StateOwner): string
