{{/* Ingress rules: which host and path lead to which door. */}}

{{/* One path: (list $ DOOR PATH TYPE). */}}
{{- define "relay-gateway.path" -}}
{{- $ := index . 0 -}}
{{- $door := index . 1 -}}
- path: {{ index . 2 }}
  pathType: {{ index . 3 }}
  backend:
    service:
      name: {{ include "relay-gateway.fullname" $ }}-{{ $door }}
      port:
        name: {{ $door }}
{{- end -}}

{{/* PoWeb, with collection as a service of its own under one of its paths, and PoHTTP. */}}
{{- define "relay-gateway.webRules" -}}
- host: {{ .Values.exposure.hosts.poweb }}
  http:
    paths:
      {{- include "relay-gateway.path" (list . "collection" "/v1/parcel-collection" "Exact") | nindent 6 }}
      {{- include "relay-gateway.path" (list . "poweb" "/" "Prefix") | nindent 6 }}
- host: {{ .Values.exposure.hosts.pohttp }}
  http:
    paths:
      {{- include "relay-gateway.path" (list . "pohttp" "/" "Prefix") | nindent 6 }}
{{- end -}}

{{- define "relay-gateway.cogrpcRule" -}}
- host: {{ .Values.exposure.hosts.cogrpc }}
  http:
    paths:
      {{- include "relay-gateway.path" (list . "cogrpc" "/" "Prefix") | nindent 6 }}
{{- end -}}
