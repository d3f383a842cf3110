/** The units of systemd for a gateway on a machine of its own, and the user that they run as. */

/** Where things are on the machine. */
export const PLACES = {
  settings: '/etc/relay-gateway/environment',
  user: '/etc/sysusers.d/relay-gateway.conf',
  units: '/etc/systemd/system',
  /** The command, for people: on everybody's PATH. */
  command: '/usr/local/bin/relay-gateway',
  /** `DATA_DIR`. */
  data: '/var/lib/relay-gateway/data',
  certificate: '/var/lib/relay-gateway/certificate/certificate.pem',
  key: '/var/lib/relay-gateway/certificate/key.pem',
} as const;

/** In the order in which they are written. */
export const UNITS = [
  'relay-gateway.service',
  'relay-gateway-certificate.service',
  'relay-gateway-certificate.timer',
] as const;

export type Unit = (typeof UNITS)[number];

export interface UnitOptions {
  /** Node.js and the program, absolute. */
  readonly node: string;
  readonly program: string;
  /** `GRACE_PERIOD`, in milliseconds. */
  readonly gracePeriod: number;
}

/** Whom the program runs as, and the name of that user's group. */
export const USER = 'relay-gateway';

/** For whom the program reads and writes (sysusers.d(5)): a user that stays the same when a backup is restored. */
export const USER_TEXT = `u ${USER} - "Awala Internet gateway" /var/lib/relay-gateway\n`;

/** Beyond the grace period, in seconds, before systemd kills what does not end. */
const STOP_MARGIN = 15;

/**
 * What each process of the gateway may do: listen below port 1024, write below its own folder, and speak to the network.
 * V8 compiles while it runs, so that memory may become executable (no `MemoryDenyWriteExecute=`); name look-ups want
 * netlink.
 */
const SANDBOX = `User=relay-gateway
Group=relay-gateway
EnvironmentFile=${PLACES.settings}
StateDirectory=relay-gateway relay-gateway/data relay-gateway/certificate
StateDirectoryMode=0700
WorkingDirectory=/var/lib/relay-gateway
UMask=0077
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM
LimitCORE=0
`;

/** The text of a unit. */
export function unitText(unit: Unit, { node, program, gracePeriod }: UnitOptions): string {
  switch (unit) {
    case 'relay-gateway.service':
      return `[Unit]
Description=Awala Internet gateway
Wants=network-online.target
After=network-online.target
# It always comes back.
StartLimitIntervalSec=0

[Service]
Type=notify
# systemd-notify is a child of the gateway.
NotifyAccess=all
ExecStart=${node} ${program} serve
WatchdogSec=60
TimeoutStartSec=300
TimeoutStopSec=${Math.ceil(gracePeriod / 1000) + STOP_MARGIN}
# The gateway ends its children itself.
KillMode=mixed
Restart=on-failure
RestartSec=2
# Bad settings do not mend themselves.
RestartPreventExitStatus=2
LimitNOFILE=131072
TasksMax=256
MemoryMax=80%
${SANDBOX}
[Install]
WantedBy=multi-user.target
`;
    case 'relay-gateway-certificate.service':
      return `[Unit]
Description=TLS certificate of the Awala Internet gateway
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart=${node} ${program} certificate renew
TimeoutStartSec=600
TasksMax=64
MemoryMax=512M
${SANDBOX}`;
    case 'relay-gateway-certificate.timer':
      return `[Unit]
Description=Looks twice a day whether the gateway's TLS certificate is to be renewed

[Timer]
OnCalendar=*-*-* 00,12:00:00
RandomizedDelaySec=6h
Persistent=yes

[Install]
WantedBy=timers.target
`;
  }
}
