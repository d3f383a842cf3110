{{/* Pods: those of the gateway, and those that run one of its commands. */}}

{{- define "relay-gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "relay-gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The variables with secrets, by reference. */}}
{{- define "relay-gateway.secretVariables" -}}
{{- range $variable, $reference := .Values.gateway.secrets }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $reference.name }}
      key: {{ $reference.key }}
{{- end }}
{{- end -}}

{{/* A pod that runs the gateway: (list $ COMPONENT), with its metadata. */}}
{{- define "relay-gateway.podTemplate" -}}
{{- $ := index . 0 -}}
{{- $name := index . 1 -}}
{{- $component := fromYaml (include "relay-gateway.component" .) -}}
{{- $isSingle := eq $name "single" -}}
{{- $ports := fromYaml (include "relay-gateway.ports" $) -}}
metadata:
  labels:
    {{- with $component.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "relay-gateway.labels" . | nindent 4 }}
    relay-gateway/has-ops: 'true'
  annotations:
    checksum/settings: {{ include "relay-gateway.settings" $ | sha256sum }}
    {{- with include "relay-gateway.secretVersions" $ }}
    checksum/secrets: {{ sha256sum . }}
    {{- end }}
    {{- with $component.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "relay-gateway.serviceAccountName" (list $ $component.serviceAccount $name) }}
  # Credentials of a cloud come from its metadata server; of Kubernetes the gateway asks nothing.
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  # Doors stay open until nobody is sent to them any more, then the program has its time, then there is a little to spare. No
  # preStop: the program itself waits, and meanwhile ends connections so that no request meets a closing one.
  terminationGracePeriodSeconds: {{ add $component.drain.waitSeconds $component.drain.graceSeconds 5 }}
  securityContext:
    {{- include "relay-gateway.podSecurity" $ | nindent 4 }}
  {{- with $component.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $component.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $component.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  affinity:
    {{- if $component.affinity }}
    {{- toYaml $component.affinity | nindent 4 }}
    {{- else }}
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "relay-gateway.selector" . | nindent 16 }}
    {{- end }}
  {{- if and $component.spreadByZone (not $isSingle) }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "relay-gateway.selector" . | nindent 10 }}
  {{- end }}
  containers:
    - name: gateway
      image: {{ include "relay-gateway.image" $ | quote }}
      imagePullPolicy: {{ $.Values.image.pullPolicy }}
      securityContext:
        {{- include "relay-gateway.containerSecurity" $ | nindent 8 }}
      envFrom:
        - configMapRef:
            name: {{ include "relay-gateway.fullname" $ }}
      env:
        - name: SERVICES
          value: {{ if $isSingle }}poweb,collection,pohttp,cogrpc,worker,ops{{ else if eq $name "ops" }}ops{{ else }}{{ $name }},ops{{ end }}
        - name: STOP_LEAD
          value: {{ $component.drain.waitSeconds }}s
        - name: GRACE_PERIOD
          value: {{ add $component.drain.waitSeconds $component.drain.graceSeconds }}s
        {{- range $variable, $value := $component.settings }}
        - name: {{ $variable }}
          value: {{ include "relay-gateway.text" $value | quote }}
        {{- end }}
        {{- include "relay-gateway.secretVariables" $ | nindent 8 }}
      ports:
        {{- range $door, $port := $ports }}
        {{- if or (eq $door "ops") (eq $door $name) (and $isSingle (ne $door "collection")) }}
        - name: {{ $door }}
          containerPort: {{ $port }}
        {{- end }}
        {{- end }}
      startupProbe:
        httpGet:
          path: /livez
          port: ops
        {{- toYaml $component.probes.startup | nindent 8 }}
      livenessProbe:
        httpGet:
          path: /livez
          port: ops
        {{- toYaml $component.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet:
          path: /readyz
          port: ops
        {{- toYaml $component.probes.readiness | nindent 8 }}
      resources:
        {{- toYaml $component.resources | nindent 8 }}
      volumeMounts:
        - name: data
          mountPath: /data
        {{- if $.Values.gateway.tls.secretName }}
        - name: tls
          mountPath: /tls
          readOnly: true
        {{- end }}
  volumes:
    {{- if not $isSingle }}
    - name: data
      emptyDir:
        sizeLimit: 1Gi
    {{- else if $component.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ $component.persistence.existingClaim }}
    {{- end }}
    {{- with $.Values.gateway.tls.secretName }}
    - name: tls
      secret:
        secretName: {{ . }}
        # 0440
        defaultMode: 288
    {{- end }}
{{- end -}}

{{/* The environment of a command that opens the stores, as a list; it serves nobody, and needs no certificate for that. */}}
{{- define "relay-gateway.commandEnvironment" -}}
{{- range $variable, $value := fromYaml (include "relay-gateway.settings" .) }}
{{- if not (hasPrefix "TLS_" $variable) }}
- name: {{ $variable }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- include "relay-gateway.secretVariables" . }}
{{- end -}}

{{/*
The spec of a pod that runs one command and ends: a dict of root, account, args, env (YAML or empty), restartPolicy, and
claim: a volume of the gateway's, beside whose pod it runs then, unless isAlone. recoveryKey: a Secret that it finds in a folder.
*/}}
{{- define "relay-gateway.commandPod" -}}
{{- $ := .root -}}
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
restartPolicy: {{ .restartPolicy }}
securityContext:
  {{- include "relay-gateway.podSecurity" $ | nindent 2 }}
containers:
  - name: command
    image: {{ include "relay-gateway.image" $ | quote }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    securityContext:
      {{- include "relay-gateway.containerSecurity" $ | nindent 6 }}
    {{- with .env }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    resources:
      requests:
        cpu: 50m
        memory: 96Mi
      limits:
        cpu: '1'
        memory: 384Mi
    volumeMounts:
      - name: data
        mountPath: /data
      {{- if .recoveryKey }}
      - name: recovery-key
        mountPath: /recovery-key
        readOnly: true
      {{- end }}
volumes:
  {{- with .recoveryKey }}
  - name: recovery-key
    secret:
      secretName: {{ . }}
      # 0440
      defaultMode: 288
  {{- end }}
  - name: data
    {{- if .claim }}
    persistentVolumeClaim:
      claimName: {{ .claim }}
    {{- else }}
    emptyDir:
      sizeLimit: 1Gi
    {{- end }}
{{- if and .claim (not .isAlone) }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "relay-gateway.selector" (list $ "single") | nindent 12 }}
{{- end }}
{{- end -}}
