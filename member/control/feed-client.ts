// The member's end of the CA's feed.

export interface Feed {
  /** Announces where this instance's ingress is reached, now and after every reconnect. `host` null: as the CA sees us. */
  advertise(endpoint: { readonly host: string | null; readonly port: number }): void
  /** Takes the announcement back; resolves when it is sent or no feed is there to send it to. */
  withdraw(): Promise<void>
  /** The CA has sent this connection its first word and has not been silent too long. */
  readonly connected: boolean
}
